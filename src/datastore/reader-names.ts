/** Where the observer finds its way to read, one function a cluster; nobody else may look into it, and nobody but us makes anything there. */
export const readersSchema = 'rollcall_read'

/** Where the guard of tables is that all readers share: all may call it. Apart from the readers, since whoever may name a function can build a view on it. */
export const guardSchema = 'rollcall_guard'

/** SQLSTATE by which the guard says that the table is not what K3s makes; the message says what it is instead. */
export const tamperedState = 'RC001'
