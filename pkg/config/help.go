package config

import (
	"fmt"
	"strings"
)

// Help returns the list of all settings with their defaults.
func Help() string {
	var b strings.Builder
	b.WriteString("Settings, as flag or in the environment:\n")
	var s Settings
	for _, f := range fieldsOf(&s) {
		name := "--" + f.flag
		if f.secret == secretOnly {
			name = "(environment or file only)"
		}
		env := f.env
		if f.secret != notSecret {
			env += ", " + f.env + "_FILE"
		}
		fmt.Fprintf(&b, "\n  %s  %s\n      %s", name, env, f.help)
		if f.def != "" {
			fmt.Fprintf(&b, " (default %s)", f.def)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
