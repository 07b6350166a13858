/** A limit on what is under way: it ends after a time, with the limit around it, or by hand. */

/** An AbortSignal with a timer does the same at several times the cost, and a validation sets some twenty limits. */
export class Limit {
  readonly #within: Limit | undefined
  readonly #acts = new Set<() => void>()
  readonly #end = () => this.end()
  readonly #timer: NodeJS.Timeout | undefined
  #isOver = false

  constructor({ ms, within }: { readonly ms?: number; readonly within?: Limit } = {}) {
    this.#within = within
    if (ms !== undefined) this.#timer = setTimeout(this.#end, ms)
    within?.onEnd(this.#end)
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** Has `act` called at the end, or at once when it is over. */
  onEnd(act: () => void): void {
    if (this.#isOver) act()
    else this.#acts.add(act)
  }

  forget(act: () => void): void {
    this.#acts.delete(act)
  }

  end(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.release()
    for (const act of this.#acts) act()
  }

  /** For when nothing is under way any more: neither time nor the limit around it ends it from now on. */
  release(): void {
    clearTimeout(this.#timer)
    this.#within?.forget(this.#end)
  }

  /** Resolves after `ms`, or at the end when that comes first. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const pause = new Limit({ ms, within: this })
      pause.onEnd(resolve)
    })
  }
}
