/**
 * The words the demo model was trained on. A key or a name made of other words is not one it can be asked about.
 */
const words = (text: string): ReadonlyArray<string> => text.trim().split(/\s+/)

/** First half of a line's name. */
export const adjectives = words(`
  able acid agile alert amber ample arid azure bald basic bitter black blank bleak blunt bold brave brief bright
  brisk broad bronze brown calm cheap chief civil clean clear clever cloudy coarse cold cosmic coral crisp cruel
  curly damp daring dark dense dim dizzy dry dull dusty eager early easy elder empty equal exact faint fair false
  fancy fast fatal fierce final firm flat fluid fond formal frank fresh frosty frugal full fuzzy gentle giant glad
  gloomy golden grand grave gray green grim gritty happy harsh hasty hazy heavy hollow honest humble hungry icy
  ideal idle inner jolly keen kind large late lavish lazy lean light little live local lonely loose loud loyal
  lucid lucky lunar mad magic major mellow merry mild minor misty modern moist mute narrow neat noble noisy novel
  odd old olive open oval pale patient plain polite prime proud public pure quaint quick quiet rapid rare raw
  ready red rigid ripe rough round royal rude rural rusty sad salty secret sharp shiny short shy silent silver
  simple sleepy slim slow small smart smooth sober soft solar solid sour spare square stale steep stiff still
  strict strong sturdy subtle sunny sweet swift tall tame tender thick thin tidy tiny torrid tough tropic true
  urban vague vast velvet vivid warm weak wet white wide wild wise witty wooden worthy yellow young zesty
`)

/** Second half of a line's name. */
export const nouns = words(`
  acorn actor anchor angle apple apron arrow atlas badge baker bamboo banjo barn basin basket beach beacon bean
  bear bell bench berry bike bird blade board boat book boot border bottle bowl box branch bread brick bridge
  brook broom brush bucket button cabin cable cake camel camera candle canoe canyon carpet cart castle cat cave
  cedar chain chair chalk cheese cherry chest child circle city clay cliff clock cloud coach coast coin comet
  copper corner cotton couch crane creek crown cup curtain dancer deer desert desk dolphin door dragon drum duck
  eagle ear engine fabric falcon farm feather fence ferry field finger fire fish flag flame flask flower flute
  forest fork fox frame frog fruit garden garlic gate ghost glass globe glove goat goose grape grass guitar hammer
  harbor hat hawk hedge hill honey horn horse hotel house island ivory jacket jar jewel judge jungle kettle key
  kid king kite knife ladder lake lamp lantern leaf lemon letter lily lion lizard locket maple marble market mask
  meadow melon metal mill mirror monkey moon moth mountain mouse nest nickel needle nurse oak ocean onion orange
  orchid otter owl oyster paddle paint palace panda paper parrot path peach pearl pebble pencil pepper piano
  pillow pilot pine planet plate pocket poet pond poppy potato prince quartz queen quilt rabbit radio raft rain
  raven reef ribbon ring river road robin rocket roof root rope rose ruby sail salad salmon sand scarf school seal
  seed shadow shark sheep shell ship shirt shoe shore shrub signal singer sister sky slope snail snake snow soap
  sofa song soup spider spoon spring squash stable stair star statue stone storm stove stream street string sugar
  summit swan sword table tailor teacher temple tent thorn ticket tiger timber toast tomato torch tower town trail
  train tree trumpet tulip tunnel turtle uncle valley vase violin wagon walnut water wave whale wheat wheel window
  wing winter wolf wood yard zebra
`)

/** Days. */
export const days = words(`
  Monday Tuesday Wednesday Thursday Friday Saturday Sunday
`)

/** Months. */
export const months = words(`
  January February March April May June July August September October November December
`)

/** First names of people. */
export const firstNames = words(`
  Adam Alice Amir Anna Boris Carla Carlos Clara Daniel Daria Diego Elena Ellen Emil Eric Farah Felix Fiona Frank
  Grace Hana Harold Helen Henry Hugo Irene Isaac Ivan Jack Jane Joan Jonas Julia Karim Karen Laura Leila Leo Linda
  Lucas Lucy Marcus Maria Marta Martin Mina Nadia Nina Noah Nora Olga Omar Oscar Paula Pedro Peter Petra Rachel
  Ravi Rosa Ruth Samuel Sara Simon Sofia Stefan Susan Tara Thomas Tomas Vera Victor Walter Yara Yusuf Zoe
`)

/** How a place or a surname begins. */
export const onsets = words(`
  Al Ar Bel Bar Cal Cor Dal Der Dun El Fal Fen Gar Gal Har Hol Ir Jas Kar Kel Lan Lor Mar Mel Mor Nar Nor Or Pal
  Per Ral Ros Sal Ser Sol Tal Tor Ul Val Ver Wal Wes Yor Zar
`)

/** What may stand in its middle. */
export const middles = words(`
  a e i o u an en in on ar er or al el il am
`)

/** How it ends. */
export const codas = words(`
  bek berg burg by dale den do dor field ford gate ham hurst ka land ley lin ma mar mond more na nell nes ra ren
  ridge rin ro sa sen shire son stead sten ta ter ton tor vale vel via vik wick wood worth
`)

/** What an organisation is, after the place it is named for. */
export const bodies = words(`
  Alliance Authority Bank Center Committee Council Foundation Fund Group Institute League Network Office Society
  Trust Union University
`)
