import { AutoCorrect, CliConfig } from "@effect/cli"

/** The name meant by a misspelt one: at most three letters, and no more than half of them, differ. */
export const nearest = (name: string, names: ReadonlyArray<string>): string | undefined =>
  names
    .map((there) => ({ there, far: AutoCorrect.levensteinDistance(name, there, CliConfig.defaultConfig) }))
    .filter(({ far }) => far <= Math.min(3, name.length / 2))
    .sort((a, b) => a.far - b.far)[0]?.there
