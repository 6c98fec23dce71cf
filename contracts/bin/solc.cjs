#!/usr/bin/env node
// What forge takes for the `solc` program: the same compiler as npm brings it.
'use strict'
const fs = require('node:fs')
const solc = require('solc')

const read = (path) => {
  try {
    return { contents: fs.readFileSync(path, 'utf8') }
  } catch (error) {
    return { error: String(error) }
  }
}

if (process.argv.includes('--version')) {
  console.log(`solc, the solidity compiler commandline interface\nVersion: ${solc.version()}`)
} else if (process.argv.includes('--standard-json')) {
  const output = Buffer.from(solc.compile(fs.readFileSync(0, 'utf8'), { import: read }))
  // A pipe takes some of it at a time, and says so.
  for (let written = 0; written < output.length;) {
    try {
      written += fs.writeSync(1, output, written)
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error
    }
  }
} else {
  console.error(`${process.argv[1]} knows --version and --standard-json only`)
  process.exitCode = 1
}
