/** This software's version, as the API and the logs tell it. `test/tidy.test.ts` holds it to package.json. */
export const VERSION = '0.1.0'
