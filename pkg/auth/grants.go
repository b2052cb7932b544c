package auth

import (
	"fmt"
	"strings"
)

// ParseGrants reads the setting of what other services may do in the tenants they name: `subject=permission,permission;subject=permission`.
// A subject may hold `=`, a permission does not. Whether a permission exists is package access's to say.
func ParseGrants(text string) (map[string][]string, error) {
	grants := make(map[string][]string)
	for entry := range strings.SplitSeq(text, ";") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		at := strings.LastIndexByte(entry, '=')
		if at < 1 {
			return nil, fmt.Errorf("%q is not subject=permission,permission", entry)
		}
		subject := entry[:at]
		if _, twice := grants[subject]; twice {
			return nil, fmt.Errorf("%q is named twice", subject)
		}
		for permission := range strings.SplitSeq(entry[at+1:], ",") {
			permission = strings.TrimSpace(permission)
			if permission == "" {
				return nil, fmt.Errorf("%q is not subject=permission,permission", entry)
			}
			grants[subject] = append(grants[subject], permission)
		}
	}
	return grants, nil
}
