/**
 * What the demo model's news tell of, in the sentences it was trained on, word for word. `{…}` is filled in by the event's
 * own value of that name.
 */

/** What can stand in a sentence. */
export type Kind =
  | "place"
  | "person"
  | "surname"
  | "day"
  | "month"
  | "organisation"
  | "adjective"
  | "noun"
  | "digit"
  | "tens"
  | "hundreds"
  | "year"
  | "decimal"

export interface Fact {
  readonly name: string
  readonly kind: Kind
  /** Ways a document says it. */
  readonly told: readonly [string, ...ReadonlyArray<string>]
  /** How the summary says it. */
  readonly summary: string
}

export interface EventKind {
  readonly name: string
  /** Ways the first document of an event opens. */
  readonly leads: readonly [string, ...ReadonlyArray<string>]
  /** In the order of the summary. */
  readonly facts: ReadonlyArray<Fact>
}

const fact = (name: string, kind: Kind, summary: string, ...told: Fact["told"]): Fact => ({
  name,
  kind,
  told,
  summary
})

export const eventKinds: ReadonlyArray<EventKind> = [
  {
    name: "earthquake",
    leads: [
      "A strong earthquake shook the town of {place}.",
      "The ground shook in {place}, where a strong earthquake hit many homes."
    ],
    facts: [
      fact(
        "place",
        "place",
        "A strong earthquake hit {place}.",
        "The center of the earthquake was near {place}."
      ),
      fact(
        "day",
        "day",
        "It struck on {day}.",
        "The earthquake struck early on {day}.",
        "It was on {day} that the earthquake struck."
      ),
      fact(
        "mag",
        "decimal",
        "The magnitude was {mag}.",
        "The quake had a magnitude of {mag}.",
        "Scientists measured a magnitude of {mag}."
      ),
      fact(
        "dead",
        "tens",
        "At least {dead} people were killed.",
        "The number of people killed in the quake is {dead}.",
        "At least {dead} people were killed in the quake."
      ),
      fact(
        "hurt",
        "hundreds",
        "Another {hurt} people were injured.",
        "Hospitals treated {hurt} injured people after the quake.",
        "Another {hurt} people were injured in the quake."
      ),
      fact(
        "mayor",
        "person",
        "The mayor, {mayor}, asked for help.",
        "The mayor, {mayor}, asked for help.",
        "The mayor of the town is {mayor}."
      ),
      fact(
        "org",
        "organisation",
        "The {org} led the rescue work.",
        "The rescue work was led by the {org}.",
        "The {org} led the rescue work."
      ),
      fact(
        "cost",
        "hundreds",
        "The damage was put at {cost} million dollars.",
        "The damage was put at {cost} million dollars.",
        "The damage of the quake came to {cost} million dollars."
      )
    ]
  },
  {
    name: "flood",
    leads: [
      "Heavy rain caused a flood in {place}.",
      "A flood covered large parts of {place} after days of rain."
    ],
    facts: [
      fact("place", "place", "A flood hit {place}.", "The flood was worst in {place}."),
      fact(
        "river",
        "place",
        "The river {river} left its bed.",
        "The river {river} left its bed.",
        "The water came from the river {river}."
      ),
      fact(
        "day",
        "day",
        "The water reached its highest level on {day}.",
        "The water reached its highest level on {day}.",
        "The flood reached its peak on {day}."
      ),
      fact(
        "lvl",
        "decimal",
        "The water stood {lvl} meters high.",
        "The level of the flood was {lvl} meters.",
        "The water stood {lvl} meters high."
      ),
      fact(
        "moved",
        "hundreds",
        "Some {moved} families had to leave their homes.",
        "Some {moved} families had to leave their homes because of the flood.",
        "The flood forced {moved} families from their homes."
      ),
      fact(
        "gov",
        "person",
        "Governor {gov} declared an emergency.",
        "Governor {gov} declared an emergency.",
        "An emergency was declared by Governor {gov}."
      ),
      fact(
        "shel",
        "noun",
        "People found shelter in the {shel} school.",
        "People were brought to the {shel} school for shelter.",
        "The {shel} school was used for shelter."
      )
    ]
  },
  {
    name: "election",
    leads: ["Voters in {place} chose a new leader.", "The people of {place} went to the polls."],
    facts: [
      fact(
        "place",
        "place",
        "Voters in {place} chose a new leader.",
        "The election was held in all districts of {place}."
      ),
      fact(
        "win",
        "person",
        "The winner is {win}.",
        "The winner of the vote is {win}.",
        "The vote was won by {win}."
      ),
      fact(
        "pct",
        "tens",
        "The winner received {pct} percent of the vote.",
        "The winner received {pct} percent of the vote.",
        "In the end {pct} percent of the votes went to the winner."
      ),
      fact(
        "los",
        "person",
        "The losing candidate was {los}.",
        "The losing candidate was {los}.",
        "The other candidate, {los}, lost the race."
      ),
      fact(
        "party",
        "adjective",
        "The {party} party supported the winner.",
        "The winner belongs to the {party} party.",
        "The {party} party supported the winner."
      ),
      fact(
        "turn",
        "tens",
        "The turnout was {turn} percent.",
        "Turnout in the election was {turn} percent.",
        "Officials put the turnout at {turn} percent."
      ),
      fact(
        "day",
        "day",
        "The date that was announced is {day}.",
        "The final count of the vote was announced on {day}.",
        "The new leader will take the oath on {day}."
      )
    ]
  },
  {
    name: "merger",
    leads: [
      "Two large companies from {place} plan to merge.",
      "A large deal between two companies was announced in {place}."
    ],
    facts: [
      fact("place", "place", "A large deal was announced in {place}.", "The contract was signed in {place}."),
      fact(
        "buy",
        "place",
        "The buyer is {buy}.",
        "The buyer is a company called {buy}.",
        "The company {buy} is the buyer."
      ),
      fact(
        "sell",
        "place",
        "The company to be bought is {sell}.",
        "The company to be bought is {sell}.",
        "The deal ends the independence of {sell}."
      ),
      fact(
        "price",
        "hundreds",
        "The price is {price} million dollars.",
        "The price of the deal is {price} million dollars.",
        "The buyer will pay {price} million dollars."
      ),
      fact(
        "boss",
        "person",
        "The new chief executive will be {boss}.",
        "The new chief executive will be {boss}.",
        "The merged company is to be led by {boss}."
      ),
      fact(
        "jobs",
        "hundreds",
        "The merger will cost {jobs} jobs.",
        "The merger will cost {jobs} jobs.",
        "After the merger {jobs} jobs will be lost."
      ),
      fact(
        "reg",
        "organisation",
        "The {reg} must approve the deal.",
        "The deal must be approved by the {reg}.",
        "The {reg} must approve the deal."
      )
    ]
  },
  {
    name: "trial",
    leads: [
      "A trial that drew wide attention began in {place}.",
      "A court in {place} heard a case that drew wide attention."
    ],
    facts: [
      fact("place", "place", "A trial was held in {place}.", "The court is in {place}."),
      fact(
        "acc",
        "person",
        "The accused is {acc}.",
        "The accused is {acc}.",
        "The court called the accused, {acc}."
      ),
      fact(
        "thing",
        "noun",
        "The case is about a stolen {thing}.",
        "The case is about a stolen {thing}.",
        "The accused is said to have stolen a {thing}."
      ),
      fact(
        "judge",
        "person",
        "The judge is {judge}.",
        "The judge in the case is {judge}.",
        "Judge {judge} opened the trial."
      ),
      fact(
        "yrs",
        "digit",
        "The sentence was {yrs} years.",
        "The accused was sent to prison for {yrs} years.",
        "The sentence in the case was {yrs} years."
      ),
      fact(
        "law",
        "person",
        "The defense lawyer was {law}.",
        "The defense lawyer was {law}.",
        "The lawyer of the accused is {law}."
      ),
      fact(
        "val",
        "hundreds",
        "It is worth {val} thousand dollars.",
        "The stolen object is worth {val} thousand dollars.",
        "Its value was given as {val} thousand dollars."
      ),
      fact(
        "day",
        "day",
        "The trial ended on {day}.",
        "The trial ended on {day}.",
        "The court spoke its sentence on {day}."
      )
    ]
  },
  {
    name: "launch",
    leads: ["A rocket was launched from {place}.", "A new mission to space began in {place}."],
    facts: [
      fact("place", "place", "A rocket was launched from {place}.", "The launch site lies close to {place}."),
      fact(
        "name",
        "place",
        "The rocket is called {name}.",
        "The name of the rocket is {name}.",
        "The rocket is called {name}."
      ),
      fact(
        "load",
        "adjective",
        "It carries a {load} satellite.",
        "The rocket carries a {load} satellite.",
        "On board is a {load} satellite."
      ),
      fact(
        "alt",
        "hundreds",
        "The orbit is {alt} kilometers high.",
        "The planned orbit is {alt} kilometers high.",
        "The satellite will fly at {alt} kilometers."
      ),
      fact(
        "chief",
        "person",
        "The head of the mission is {chief}.",
        "The head of the mission is {chief}.",
        "The mission is directed by {chief}."
      ),
      fact(
        "org",
        "organisation",
        "The {org} paid for the mission.",
        "The mission was paid for by the {org}.",
        "The {org} paid for the mission."
      ),
      fact(
        "month",
        "month",
        "The mission will last until {month}.",
        "The mission will last until {month}.",
        "The end of the mission is planned for {month}."
      )
    ]
  }
]
