/** Where the observer finds its way to read, one function a cluster, and the guard that all share; nobody but us makes anything there. */
export const readersSchema = 'rollcall_read'

/** SQLSTATE by which the guard says that the table is not what K3s makes; the message says what it is instead. */
export const tamperedState = 'RC001'
