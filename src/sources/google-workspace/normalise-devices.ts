/** ChromeOS and mobile devices of the Directory API in the words of the identity model. Pure. */
import type { Device, DeviceAttributes } from '../../entities/model.ts'
import { smallRaw } from '../raw-document.ts'
import type { JsonObject } from './client.ts'
import { idOf, known, textOf, timeOf } from './normalise.ts'

/**
 * What is asked of each ChromeOS device: nothing of what it reports by itself every day (users, network, usage).
 *
 * @see https://developers.google.com/workspace/admin/directory/reference/rest/v1/chromeosdevices#ChromeOsDevice
 */
export const chromeFields = [
  'deviceId,serialNumber,status,lastSync,annotatedUser,annotatedAssetId,annotatedLocation,model,meid,macAddress',
  'osVersion,osVersionCompliance,firmwareVersion,bootMode,orgUnitPath,firstEnrollmentTime,lastEnrollmentTime',
  'deprovisionReason,chromeOsType,deviceLicenseType,autoUpdateThrough,orderNumber,supportEndDate',
].join(',')

const chromeMembersElsewhere = new Set([
  'kind',
  'deviceId',
  'serialNumber',
  'status',
  'lastSync',
  'annotatedUser',
  'annotatedAssetId',
  'model',
  'meid',
  'macAddress',
  'osVersion',
  'orgUnitPath',
  'firstEnrollmentTime',
])

/** @see https://developers.google.com/workspace/admin/directory/reference/rest/v1/mobiledevices#MobileDevice */
export const mobileFields = [
  'resourceId,deviceId,name,email,serialNumber,model,manufacturer,brand,hardware,imei,meid,wifiMacAddress,os,type,status',
  'deviceCompromisedStatus,devicePasswordStatus,encryptionStatus,securityPatchLevel,privilege,adbStatus',
  'developerOptionsStatus,unknownSourcesStatus,supportsWorkProfile,managedAccountIsOnOwnerProfile,buildNumber',
  'firstSync,lastSync',
].join(',')

const mobileMembersElsewhere = new Set([
  'kind',
  'resourceId',
  'deviceId',
  'name',
  'email',
  'serialNumber',
  'model',
  'manufacturer',
  'imei',
  'wifiMacAddress',
  'os',
  'status',
  'firstSync',
  'lastSync',
])

/** A ChromeOS device; undefined when the record has no id. */
export function chromeDeviceOf(device: JsonObject): Device | undefined {
  const uid = idOf(device.deviceId)
  if (uid === undefined) return undefined
  const serial = textOf(device.serialNumber)
  const model = textOf(device.model)
  const version = textOf(device.osVersion)
  const meid = textOf(device.meid)
  const status = textOf(device.status)
  const attributes = known<DeviceAttributes>({
    uid,
    uid_alt: undefined,
    name: textOf(device.annotatedAssetId) ?? serial,
    hostname: undefined,
    type: chromeTypeOf(model),
    os: { name: 'ChromeOS', ...(version !== undefined && { version }) },
    model,
    vendor_name: undefined,
    hw_info: serial === undefined ? undefined : { serial_number: serial },
    // The member holds a MEID or an IMEI; the latter has 15 digits.
    imei: meid !== undefined && /^\d{15}$/.test(meid) ? meid : undefined,
    mac: macOf(device.macAddress),
    status,
    is_managed: isChromeManaged(status),
    is_compliant: isChromeCompliant(device.osVersionCompliance),
    is_personal: undefined,
    is_trusted: undefined,
    org_unit: textOf(device.orgUnitPath),
    owner: ownerOf(textOf(device.annotatedUser), undefined),
    created_time: timeOf(device.firstEnrollmentTime),
    modified_time: undefined,
  })
  return deviceOf(attributes, smallRaw(device, chromeMembersElsewhere), device.lastSync)
}

/** A mobile device; undefined when the record has no id. */
export function mobileDeviceOf(device: JsonObject): Device | undefined {
  const uid = idOf(device.resourceId)
  if (uid === undefined) return undefined
  const serial = textOf(device.serialNumber)
  const model = textOf(device.model)
  const status = textOf(device.status)
  const attributes = known<DeviceAttributes>({
    uid,
    uid_alt: idOf(device.deviceId),
    name: model ?? serial,
    hostname: undefined,
    type: /\bipad\b|\btab(?:let)?\b/i.test(model ?? '') ? 'Tablet' : 'Mobile',
    os: osOf(textOf(device.os)),
    model,
    vendor_name: textOf(device.manufacturer),
    hw_info: serial === undefined ? undefined : { serial_number: serial },
    imei: textOf(device.imei),
    mac: macOf(device.wifiMacAddress),
    status,
    is_managed: status === undefined ? undefined : status === 'APPROVED',
    is_compliant: isUncompromised(textOf(device.deviceCompromisedStatus)),
    is_personal: undefined,
    is_trusted: undefined,
    org_unit: undefined,
    owner: ownerOf(firstText(device.email), firstText(device.name)),
    created_time: timeOf(device.firstSync),
    modified_time: undefined,
  })
  return deviceOf(attributes, smallRaw(device, mobileMembersElsewhere), device.lastSync)
}

function deviceOf(attributes: DeviceAttributes, raw: Device['raw'], lastSync: unknown): Device {
  const seen = timeOf(lastSync)
  return {
    kind: 'device',
    attributes,
    ...(raw !== undefined && { raw }),
    ...(seen !== undefined && Date.parse(seen) > 0 && { activity: { last_seen_time: seen } }),
  }
}

function chromeTypeOf(model: string | undefined): DeviceAttributes['type'] {
  if (model === undefined) return undefined
  if (/chromebook/i.test(model)) return 'Laptop'
  return /chrome(?:box|base|bit)/i.test(model) ? 'Desktop' : undefined
}

/** @see https://developers.google.com/workspace/admin/directory/reference/rest/v1/chromeosdevices#ChromeOsDevice status */
function isChromeManaged(status: string | undefined): boolean | undefined {
  if (status === 'ACTIVE' || status === 'DISABLED' || status === 'INACTIVE') return true
  return status === 'DEPROVISIONED' ? false : undefined
}

/** @see https://developers.google.com/workspace/admin/directory/reference/rest/v1/chromeosdevices#osversioncompliance */
function isChromeCompliant(compliance: unknown): boolean | undefined {
  if (compliance === 'COMPLIANT' || compliance === 'PENDING') return true
  return compliance === 'NOT_COMPLIANT' ? false : undefined
}

/** `No compromise detected` or `Compromised`; it is undetermined otherwise. */
function isUncompromised(status: string | undefined): boolean | undefined {
  if (status === undefined) return undefined
  if (/^no compromise/i.test(status)) return true
  return /^compromised/i.test(status) ? false : undefined
}

/** `Android 16`, `iOS 26.1`. */
function osOf(text: string | undefined): DeviceAttributes['os'] {
  const [, name, version] = /^(.*?)\s+(\d[\w.]*)$/.exec(text ?? '') ?? []
  if (name !== undefined && version !== undefined) return { name, version }
  return text === undefined ? undefined : { name: text }
}

/** What an administrator noted may be an address or a name. */
function ownerOf(text: string | undefined, name: string | undefined): DeviceAttributes['owner'] {
  if (text === undefined) return name === undefined ? undefined : { name }
  return text.includes('@')
    ? { ...(name !== undefined && { name }), email_addr: text.toLowerCase() }
    : { name: text }
}

const firstText = (list: unknown): string | undefined =>
  Array.isArray(list) ? list.map(textOf).find((text) => text !== undefined) : undefined

/** Google writes twelve hexadecimal digits; everybody else has colons between them. */
function macOf(value: unknown): string | undefined {
  const text = textOf(value)?.toLowerCase()
  return text !== undefined && /^[0-9a-f]{12}$/.test(text) ? text.match(/../g)?.join(':') : text
}
