// A server with TLS as ours, that answers 204 to whatever it is asked.
import { constants } from 'node:crypto'
import { createServer } from 'node:https'
import { makeSelfSigned } from '../../dist/tls/certificates.js'

const { key, certificate } = await makeSelfSigned(['localhost'], Math.floor(Date.now() / 1_000))
const options = { key, cert: certificate, minVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_NO_TICKET }
const server = createServer(options, (request, response) => {
  request.resume().once('end', () => response.writeHead(204).end())
})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
process.stdin.resume().once('end', () => process.exit(0))
