/** How files are written: no line breaks of our own, and quotes where an older YAML would see a number or a yes. */
export const YAML_STYLE = {
  lineWidth: 0,
  aliasDuplicateObjects: false,
  compat: 'yaml-1.1',
} as const
