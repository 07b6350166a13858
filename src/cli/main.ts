/** The `credence` command. */
import { Command } from 'commander'
import { variable } from '../config.ts'
import { addAuditCommand } from './audit-command.ts'
import { addBackupCommands } from './backup-command.ts'
import { addConfigsCommand } from './configs-command.ts'
import { addDemoCommand } from './demo.ts'
import { addDoctorCommand } from './doctor-command.ts'
import { exitCodeAfter } from './failure.ts'
import { addKeysCommand } from './keys-command.ts'
import { addLookupCommands } from './lookup-command.ts'
import { addOrgsCommand } from './orgs-command.ts'
import { addRegistrationsCommand } from './registrations-command.ts'
import { addRotateKeyCommand } from './rotate-key-command.ts'
import { addSandboxCommand } from './sandbox.ts'
import { addServeCommand } from './serve-command.ts'
import { addSourcesCommand } from './sources-command.ts'
import { addSyncCommand } from './sync-command.ts'
import { tolerateClosedPipes } from './terminal.ts'
import { addValidateCommand } from './validate-command.ts'
import { addVaultCommand } from './vault-command.ts'
import { version } from './version.ts'
import { addWebhooksCommand } from './webhooks-command.ts'

const examples = `
Examples:
  $ credence demo
  $ credence validate okta --domain acme.okta.com --api-token-file token.txt
  $ pass okta/sync | credence validate okta --domain acme.okta.com --api-token-stdin --json
  $ credence validate google-workspace --domain example.com \\
      --admin-email admin@example.com --service-account-file key.json
  $ credence serve --port 8080
  $ credence keys create --permissions integrations_read,manage_integrations,siem_entities_read
  $ credence configs create okta --domain acme.okta.com --name Acme --api-token-file token.txt
  $ credence doctor`

tolerateClosedPipes(process.stdout, process.stderr)
// Node's own status for these is 1, which would read as "invalid".
process.on('uncaughtException', (error) => process.exit(exitCodeAfter(error)))

try {
  await program().parseAsync()
} catch (error) {
  process.exitCode = exitCodeAfter(error)
}

function program(): Command {
  const root = new Command('credence')
    .description('Proves that a set of credentials really lets you sync an identity source.')
    .version(version())
    .addHelpText('after', examples)
    .exitOverride()
    // Told by exitCodeAfter(), which knows what must not be repeated.
    .configureOutput({ outputError: () => {} })
    .showSuggestionAfterError()
  root.commandsGroup('Credentials:')
  addValidateCommand(root, variable)
  addSourcesCommand(root)

  root.commandsGroup('Configurations on a server:')
  addConfigsCommand(root, variable)
  addSyncCommand(root, variable)
  addLookupCommands(root, variable)

  root.commandsGroup('A server and what it keeps, for its operator:')
  addServeCommand(root)
  addDoctorCommand(root)
  addKeysCommand(root)
  addOrgsCommand(root)
  addRegistrationsCommand(root)
  addWebhooksCommand(root)
  addAuditCommand(root)
  addVaultCommand(root)
  addRotateKeyCommand(root)
  addBackupCommands(root)

  root.commandsGroup('To try things out:')
  addDemoCommand(root)
  addSandboxCommand(root)
  return root.helpCommand('help [command]', 'say how a command is used')
}
