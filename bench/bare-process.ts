/** A process that runs the least server there is: one Fastify route with the schema of the real one. */
import { fastify } from 'fastify'
import { serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod'
import { bodySchemaFor } from '../src/api/routes/validate.ts'
import { createSources } from '../src/sources/registry.ts'
import { answerQuestions } from './child.ts'
import { validatePath } from './rig.ts'

const server = fastify()
server.setValidatorCompiler(validatorCompiler)
server.setSerializerCompiler(serializerCompiler)
server.post(validatePath, { schema: { body: bodySchemaFor(createSources()) } }, async () => '')

const answers = { start: () => server.listen({ host: '127.0.0.1', port: 0 }) }
export type BareAnswers = typeof answers

answerQuestions(answers, () => server.close())
