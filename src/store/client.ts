/** PostgreSQL clients that outlive the loss of their connection and keep their password to themselves. */
import pg from 'pg'

export class StoreClient extends pg.Client {
  /** Of pg, and missing in its types: the connection is no reason for the process to go on. */
  declare readonly unref: () => void

  constructor(config?: string | pg.ClientConfig) {
    super(config)
    // A connection that breaks between two statements is found at the next one; without a listener it ends the process.
    this.on('error', () => undefined)
  }

  /** Ends the connection at once, whatever it waits for. */
  hangUp(reason: Error): void {
    const { connection } = this as unknown as { connection: { stream: { destroy(reason: Error): void } } }
    connection.stream.destroy(reason)
  }
}

/**
 * For a server on this machine. When ours is down, its port is free for any user of the machine: whoever listens there
 * and asks for the password in plain is hung up on. SCRAM itself gives nothing away, and proves the server too.
 */
export class ScramClient extends StoreClient {
  /** Called by pg at that request, in place of its own method. */
  _handleAuthCleartextPassword(): void {
    this.hangUp(new Error('the server asks for a password in plain; it is not ours'))
  }

  /** The same for MD5, whose answer can be tried against lists of passwords. */
  _handleAuthMD5Password(): void {
    this.hangUp(new Error('the server asks for a password hash; it is not ours'))
  }
}
