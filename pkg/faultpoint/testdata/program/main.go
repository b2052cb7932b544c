// Package main passes two places and says how far it got.
package main

import (
	"os"

	"workflow.uniconnect/pkg/faultpoint"
)

func main() {
	say("begin,")
	faultpoint.Hit("first")
	say("middle,")
	faultpoint.Hit("second")
	say("end")
}

func say(text string) { _, _ = os.Stdout.WriteString(text) }
