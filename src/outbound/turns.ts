/** Spreads a burst over several turns of the event loop, so that it does not hold up everything else. */

/** Lets `perTurn` callers through in each turn of the event loop, first come, first served; without a burst nobody waits. */
export class Turns {
  readonly #perTurn: number
  readonly #waiting: (() => void)[] = []
  #left: number
  #isTurning = false

  constructor(perTurn: number) {
    this.#perTurn = perTurn
    this.#left = perTurn
  }

  /** Resolves when it is the caller's turn. */
  async take(): Promise<void> {
    this.#turn()
    if (this.#left > 0 && this.#waiting.length === 0) {
      this.#left--
      return
    }
    await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  #turn(): void {
    if (this.#isTurning) return
    this.#isTurning = true
    setImmediate(() => {
      this.#isTurning = false
      const next = this.#waiting.splice(0, this.#perTurn)
      this.#left = this.#perTurn - next.length
      for (const begin of next) begin()
      if (this.#waiting.length > 0) this.#turn()
    })
  }
}
