/**
 * The end of a problem: what the bound leaves open is solved by HiGHS, a core of it first where it is much, until the gap
 * is proven.
 */
import { Effect } from "effect"
import { costOfAll, fits, type Plan } from "./Descent.js"
import type { Dual } from "./Dual.js"
import { OptimizerError } from "./Errors.js"
import type { Solver } from "./Highs.js"
import { programOf, remainderOf } from "./Remainder.js"
import type { Tools } from "./Suggest.js"
import { breathe } from "./Timer.js"

/** Columns of a remainder that is solved at once. */
const HANDY = 2000
/** How often a remainder is cut before a large one is solved after all. */
const HALVINGS = 16
/** The size that costs have in the program. */
const SCALE = 1000
/** The solver's tolerances may break a cap by a trace; it is then held below it by a share between these. */
const LEAST_SLACK = 1e-11
const MOST_SLACK = 1e-8

export interface Closed {
  readonly plan: Plan | undefined
  readonly bound: number
  readonly proven: boolean
}

/**
 * @param ceiling no plan worth finding costs more
 * @param gap relative, at which a plan counts as optimal
 */
export const close = (
  solver: Solver,
  { menus, problem, timer }: Tools,
  dual: Dual,
  ceiling: number,
  known: Plan | undefined,
  gap: number
): Effect.Effect<Closed, OptimizerError> =>
  Effect.gen(function* () {
    let plan = known
    let bound = dual.bound
    const top = () => plan?.cost ?? ceiling * (1 + 1e-9)
    let width = top() - dual.bound
    let slack = 0
    for (let first = true; ; first = false) {
      yield* breathe
      let rest = remainderOf(problem, menus, dual.prices, width, first ? HANDY : Infinity)
      for (let halvings = 1; rest === undefined; halvings++) {
        width /= 2
        rest = remainderOf(problem, menus, dual.prices, width, halvings < HALVINGS ? HANDY : Infinity)
      }
      const whole = width >= top() - dual.bound
      const scale = SCALE / top()
      const { offset, picksOf, program } = programOf(problem, rest, scale, slack)
      const cutoff = plan === undefined ? top() : plan.cost * (1 - gap)
      if (rest.entries.some((own) => own.length === 0))
        return { plan, bound: whole ? cutoff : bound, proven: whole }
      const answer = yield* solver.solve(
        program,
        {
          timeLimit: timer.left(),
          gap: 0,
          absolute: Math.max(gap * bound * scale, 1e-6),
          cutoff: (cutoff - offset) * scale + 1e-6,
          // Within the gap of the dual's bound, which the program's own relaxation may not reach.
          target: (dual.bound / (1 - Math.min(gap, 0.999)) - offset) * scale
        },
        undefined
      )
      if (answer !== undefined && answer !== "late") {
        const picks = picksOf(answer.x)
        if (!fits(problem, picks) && slack < MOST_SLACK) {
          slack = Math.max(slack * 10, LEAST_SLACK)
          continue
        }
        if (!fits(problem, picks))
          return yield* new OptimizerError({
            reason: "Solver",
            detail: `${solver.version} returned a plan that breaks a budget; please report the influence that does it`
          })
        const cost = costOfAll(problem, picks)
        if (plan === undefined || cost < plan.cost) plan = { picks, cost }
      }
      // Above the cutoff the solver looks no further, whatever bound it states.
      const inside =
        answer === "late"
          ? bound
          : answer === undefined
            ? cutoff
            : Math.min(answer.bound / scale + offset, cutoff)
      bound = Math.max(bound, Math.min(inside, whole ? Infinity : dual.bound + width))
      if (plan !== undefined) bound = Math.min(bound, plan.cost)
      const proven = whole && answer !== "late" && (answer === undefined || answer.proven)
      if (
        proven ||
        timer.late() ||
        answer === "late" ||
        (plan !== undefined && plan.cost - bound <= gap * plan.cost)
      )
        return { plan, bound, proven: proven || (plan !== undefined && plan.cost - bound <= gap * plan.cost) }
      width = Math.min(width * 4, top() - dual.bound)
    }
  })
