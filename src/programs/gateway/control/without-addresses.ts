/** Free text from nodes may quote what failed, address and all; nobody else is to see where a node lives. */
const MAX_TEXT = 200

const ADDRESSES = [
  /\b[a-z][\w+.-]*:\/\/\S+/gi, // URLs
  /\b\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?\b/g, // IPv4, with or without port
  /(?<![\w:])\[?(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}\]?(?::\d{1,5})?(?![\w:])/gi, // IPv6
  /\b(?:[a-z0-9-]+\.)*[a-z0-9-]+:\d{2,5}\b/gi, // host:port
]

export function withoutAddresses(text: string): string {
  const clean = ADDRESSES.reduce((left, address) => left.replace(address, '[address]'), text)
  return clean.slice(0, MAX_TEXT)
}
