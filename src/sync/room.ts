/** Room for what is held in memory at a time: whoever finds none waits, first come, first served. */
export class Room {
  readonly #size: number
  #left: number
  readonly #waiting: { readonly need: number; begin(): void }[] = []

  constructor(size: number) {
    this.#size = size
    this.#left = size
  }

  /**
   * Runs `work` as soon as there is room for it. What needs more than there is at all has the whole of it.
   *
   * @param need in the units of the room's size, from 0
   */
  async for<T>(need: number, work: () => Promise<T>): Promise<T> {
    const taken = Math.min(need, this.#size)
    if (this.#waiting.length > 0 || taken > this.#left)
      await new Promise<void>((begin) => this.#waiting.push({ need: taken, begin }))
    else this.#left -= taken
    try {
      return await work()
    } finally {
      this.#left += taken
      this.#admit()
    }
  }

  #admit(): void {
    for (;;) {
      const [first] = this.#waiting
      if (first === undefined || first.need > this.#left) return
      this.#waiting.shift()
      this.#left -= first.need
      first.begin()
    }
  }
}
