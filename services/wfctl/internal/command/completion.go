package command

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

const (
	// lastOnly is how cobra's script for bash escapes what it offers: only when it is one. But bash types what several have in common, and of
	// titles that begin with the same words that has a space.
	lastOnly = `        if (( ${#COMPREPLY[@]} == 1 )); then
            COMPREPLY[0]=$(printf "%q" "${COMPREPLY[0]}")
        fi
        return 0
`
	every = `        if (( ${#COMPREPLY[@]} > 0 )); then
            IFS=$'\n' read -ra COMPREPLY -d '' < <(printf "%q\n" "${COMPREPLY[@]}")
        fi
        return 0
`
)

// completeTitles makes the completion of bash take titles with spaces.
func completeTitles(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	cmd, _, err := root.Find([]string{"completion", "bash"})
	if err != nil {
		return // the test of completion would show it
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		without, err := cmd.Flags().GetBool("no-descriptions")
		if err != nil {
			return fmt.Errorf("read a flag: %w", err)
		}
		var script bytes.Buffer
		if err := root.GenBashCompletionV2(&script, !without); err != nil {
			return fmt.Errorf("make the script: %w", err)
		}
		_, err = fmt.Fprint(cmd.OutOrStdout(), strings.Replace(script.String(), lastOnly, every, 1))
		return err
	}
}
