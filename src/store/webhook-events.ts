/** What webhooks can be told. Names are part of the interface and never change. */
export const eventTypes = [
  'integration_config.state_changed',
  'integration_config.expiring',
  'integration_config.validation_unclear',
  'sync.run.failed',
  'sync.run.recovered',
  'sync.run.quarantined',
] as const
export type EventType = (typeof eventTypes)[number]

export const isEventType = (name: string): name is EventType => eventTypes.some((known) => known === name)
