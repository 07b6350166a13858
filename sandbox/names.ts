/** Words from which a made-up organisation's people, places and groups get their names. */

/** As people write it, and as it occurs in addresses. */
export interface Name {
  readonly name: string
  /** Lower-case ASCII letters only. */
  readonly ascii: string
}

type List<T> = readonly [T, ...T[]]

const plain = (name: string): Name => ({ name, ascii: name.toLowerCase() })

export const givenNames: List<Name> = [
  plain('Ada'),
  plain('Alan'),
  plain('Amara'),
  { name: 'André', ascii: 'andre' },
  plain('Barbara'),
  { name: 'Björn', ascii: 'bjoern' },
  plain('Carol'),
  { name: 'Chloé', ascii: 'chloe' },
  plain('Dennis'),
  plain('Edsger'),
  plain('Fatima'),
  plain('Frances'),
  plain('Grace'),
  plain('Hedy'),
  plain('Ines'),
  plain('Ivan'),
  plain('Jean'),
  plain('Kateryna'),
  plain('Katherine'),
  plain('Kwame'),
  plain('Leslie'),
  plain('Lin'),
  { name: 'Łukasz', ascii: 'lukasz' },
  plain('Margaret'),
  plain('Mei'),
  plain('Niklaus'),
  { name: 'Özlem', ascii: 'oezlem' },
  plain('Priya'),
  plain('Radia'),
  plain('Sofia'),
  { name: 'Søren', ascii: 'soeren' },
  plain('Tim'),
  plain('Vint'),
  plain('Wanjiru'),
  { name: 'Юлія', ascii: 'yuliia' },
  { name: '結衣', ascii: 'yui' },
]

export const familyNames: List<Name> = [
  plain('Abebe'),
  plain('Allen'),
  { name: 'Ångström', ascii: 'angstrom' },
  plain('Bartik'),
  { name: 'Berners-Lee', ascii: 'bernerslee' },
  plain('Cerf'),
  plain('Chen'),
  plain('Clarke'),
  plain('Dijkstra'),
  plain('Eze'),
  { name: 'Fernández', ascii: 'fernandez' },
  plain('Goldberg'),
  plain('Haddad'),
  plain('Hamilton'),
  plain('Hopper'),
  plain('Ivanova'),
  plain('Johnson'),
  plain('Kimani'),
  plain('Knuth'),
  { name: "L'Hôpital", ascii: 'lhopital' },
  plain('Lamarr'),
  plain('Lamport'),
  plain('Liskov'),
  plain('Lovelace'),
  plain('Mensah'),
  { name: 'Müller', ascii: 'mueller' },
  plain('Nakamura'),
  { name: 'Nguyễn', ascii: 'nguyen' },
  { name: "O'Neill", ascii: 'oneill' },
  plain('Perlman'),
  plain('Ritchie'),
  plain('Shah'),
  { name: 'van der Berg', ascii: 'vanderberg' },
  plain('Wirth'),
  { name: 'Шевченко', ascii: 'shevchenko' },
  { name: '佐藤', ascii: 'sato' },
]

export const titles: List<string> = [
  'Account Manager',
  'Analyst',
  'Controller',
  'Designer',
  'Director',
  'Engineer',
  'Lawyer',
  'Planner',
  'Product Manager',
  'Recruiter',
  'Researcher',
  'Support Specialist',
]

export const departments: List<string> = [
  'Customer Care',
  'Design',
  'Engineering',
  'Finance',
  'IT',
  'Legal',
  'Marketing',
  'Operations',
  'People',
  'Research',
  'Sales',
  'Security',
]

export const groupSubjects: List<string> = [
  'Approvers',
  'Contractors',
  'Leads',
  'Managers',
  'News',
  'On Call',
  'Owners',
  'Project',
  'Readers',
  'Team',
]

export const places: List<{ readonly city: string; readonly countryCode: string }> = [
  { city: 'Amsterdam', countryCode: 'NL' },
  { city: 'Austin', countryCode: 'US' },
  { city: 'Bengaluru', countryCode: 'IN' },
  { city: 'Berlin', countryCode: 'DE' },
  { city: 'Kyiv', countryCode: 'UA' },
  { city: 'Lagos', countryCode: 'NG' },
  { city: 'Montréal', countryCode: 'CA' },
  { city: 'Nairobi', countryCode: 'KE' },
  { city: 'Paris', countryCode: 'FR' },
  { city: 'São Paulo', countryCode: 'BR' },
  { city: 'Sydney', countryCode: 'AU' },
  { city: 'Tokyo', countryCode: 'JP' },
]
