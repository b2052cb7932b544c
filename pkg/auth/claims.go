package auth

import (
	"errors"
	"fmt"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"
)

// claims are what we read of a token.
type claims struct {
	jwt.RegisteredClaims
	Tenant string   `json:"tenant,omitempty"`
	Roles  []string `json:"roles,omitempty"`
	Email  string   `json:"email,omitempty"`
	Kind   string   `json:"uc_kind,omitempty"`

	markers
}

// markers tell what a token is for. Those of other uses are no keys to an API.
type markers struct {
	// Type is not RFC 9068's; some issuers write it beside the header of that name.
	Type            string `json:"typ,omitempty"`
	AccessTokenHash string `json:"at_hash,omitempty"`
	CodeHash        string `json:"c_hash,omitempty"`
	Nonce           string `json:"nonce,omitempty"`
	Events          any    `json:"events,omitempty"`
	Confirmation    any    `json:"cnf,omitempty"`
}

// UnmarshalJSON reads names exactly as they are written, and none twice: what one reader takes for the tenant must not be something else
// for another.
func (c *claims) UnmarshalJSON(text []byte) error {
	type plain claims
	var p plain
	if err := jsonv2.Unmarshal(text, &p); err != nil {
		return err
	}
	*c = claims(p)
	return nil
}

// Validate is called by the parser after its own checks.
func (c *claims) Validate() error {
	switch {
	case c.Type != "" && !strings.EqualFold(c.Type, "Bearer"):
		return fmt.Errorf("a token for use %q is not an access token", c.Type)
	case c.AccessTokenHash != "" || c.CodeHash != "" || c.Nonce != "":
		return errors.New("an ID token is not an access token")
	case c.Events != nil:
		return errors.New("a token that tells of events is not an access token")
	case c.Confirmation != nil:
		return errors.New("the token is bound to a key, and no proof of that key is checked here")
	}
	switch c.Kind {
	case "", kindUser, kindService, kindClient:
		return nil
	}
	return fmt.Errorf("uc_kind %q is not known", c.Kind)
}
