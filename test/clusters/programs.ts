// Exit 0 if what whole clusters need is in the cache.
import { findKubectl } from '../kine/kubectl.ts'
import { findKine } from '../kine/program.ts'

process.exitCode = findKine() && findKubectl() ? 0 : 1
