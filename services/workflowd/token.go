package workflowd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/config"
	"workflow.uniconnect/pkg/devusers"
)

// Token prints a bearer token of a development user: `workflowd token --user owner@acme.test`. It needs the data directory of a system
// that was started with --dev, since that holds the issuer's key.
func Token(_ context.Context, args, environ []string, stdout io.Writer) error {
	fs := flag.NewFlagSet("token", flag.ContinueOnError)
	name := fs.String("user", "owner@acme.test", "whose token: "+strings.Join(names(), ", "))
	ttl := fs.Duration("ttl", 12*time.Hour, "how long the token is valid")
	settings, err := config.LoadFlags(fs, args, environ)
	if errors.Is(err, config.ErrHelp) {
		fs.SetOutput(stdout)
		fs.PrintDefaults()
		return nil
	}
	if err != nil {
		return err
	}
	user, ok := devusers.Find(*name)
	if !ok {
		return fmt.Errorf("no development user %s; there are %s", *name, strings.Join(names(), ", "))
	}
	issuer, err := auth.FindIssuer(settings.DataDir)
	if err != nil {
		return err
	}
	token, err := issuer.Issue(user.Principal(), *ttl)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, token)
	return err
}

func names() []string {
	var all []string
	for _, u := range devusers.All() {
		all = append(all, u.Name)
	}
	return all
}
