//go:build faultpoints

package faultpoint

import "os"

// Hit marks a place, and ends the process there when it is the one that was asked for.
func Hit(name string) {
	if name == "" || os.Getenv(Variable) != name {
		return
	}
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		panic("faultpoint " + name + ": " + err.Error())
	}
	select {} // the signal is on its way: nothing more may happen here
}
