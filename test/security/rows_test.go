package security

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// special is a row that needs more than a call and its answer.
type special struct {
	row  int
	name string
	run  func(*testing.T)
}

// specials are those that every system is tried with; the ones that take parts of it away come last.
func (s *system) specials() []special {
	return []special{
		{2, "forged_tokens", s.forgedTokens},
		{3, "tokens_for_others", s.tokensForOthers},
		{4, "megabyte", s.megabyteHeader},
		{4, "grpc", s.longToken},
		{5, "keys_from_the_token", s.keysFromTheToken},
		{6, "no_tenant", s.noTenant},
		{11, "headers_that_pretend", s.headersThatPretend},
		{11, "metadata_that_pretends", s.metadataThatPretends},
		{13, "path_without_slash", s.pathWithoutSlash},
		{14, "production", s.production},
		{16, "grpc", s.undecodable},
		{19, "grpc", s.largeMessage},
		{20, "grpc", s.compressedMessage},
		{41, "tenants_of_events", s.tenantsOfEvents},
		{42, "odd_events", s.oddEvents},
		{47, "no_cors", s.noCORS},
		{48, "markup", s.markup},
		{49, "rate_limit", s.rateLimit},
		{49, "streams", s.streams},
		{49, "ping_flood", s.pingFlood},
		{49, "slow_header", s.slowHeader},
		{50, "capped", s.cappedTimeout},
		{50, "grpc", s.oddTimeouts},
		{51, "nats_away", s.natsAway},
		{51, "postgres_away", s.postgresAway},
	}
}

// TestRows holds that no row of the table of bad inputs is forgotten: each is tried here, or held elsewhere, or belongs to a later issue.
func TestRows_areAllAccountedFor(t *testing.T) {
	const rows = 54
	text, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[int]string)
	for _, match := range regexp.MustCompile(`(?m)^\| (\d+) \|.*\| ([^|]+) \|$`).FindAllStringSubmatch(string(text), -1) {
		n, err := strconv.Atoi(match[1])
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := documented[n]; ok {
			t.Errorf("row %d is documented twice", n)
		}
		documented[n] = match[2]
	}
	names := subtests()
	for _, name := range regexp.MustCompile("`TestSystem/([^`]+)`").FindAllStringSubmatch(string(text), -1) {
		if !names[name[1]] {
			t.Errorf("docs/security.md names TestSystem/%s, which is no test", name[1])
		}
	}
	tried := triedRows()
	for n := 1; n <= rows; n++ {
		where, ok := documented[n]
		issue, isLater := laterRows()[n]
		switch {
		case !ok:
			t.Errorf("row %d is not in docs/security.md", n)
		case isLater && where != fmt.Sprintf("issue %d", issue):
			t.Errorf("row %d belongs to issue %d, docs/security.md says %s", n, issue, where)
		case !isLater && strings.HasPrefix(where, "issue"):
			t.Errorf("row %d: docs/security.md puts it off, this package does not", n)
		case !isLater && !tried[n] && elsewhere()[n] == "":
			t.Errorf("row %d is neither tried nor held elsewhere nor of a later issue", n)
		case elsewhere()[n] != "" && !strings.Contains(where, elsewhere()[n]):
			t.Errorf("row %d is held by %s, docs/security.md says %s", n, elsewhere()[n], where)
		}
	}
	if len(documented) != rows {
		t.Errorf("%d rows are documented, want %d", len(documented), rows)
	}
}

// laterRows are of things that do not exist yet, with the issue that brings them.
func laterRows() map[int]int {
	return map[int]int{31: 5, 34: 5, 38: 7, 39: 7, 40: 7, 43: 5, 54: 5}
}

// elsewhere are rows that other tests hold: the matrix, or one inside a service.
func elsewhere() map[int]string {
	return map[int]string{7: "TestSystem/matrix", 36: "TestClient_Do_blocks_what_only_resolving_shows"}
}

// triedRows are the rows of the tables of this package.
func triedRows() map[int]bool {
	f := &fixtures{}
	tried := make(map[int]bool)
	for _, a := range attempts(f) {
		tried[a.row] = true
	}
	for _, a := range httpAttempts(f) {
		tried[a.row] = true
	}
	for _, sp := range (&system{}).specials() {
		tried[sp.row] = true
	}
	return tried
}

// subtests are the names of what TestSystem runs.
func subtests() map[string]bool {
	f := &fixtures{}
	names := map[string]bool{"matrix": true, "headers": true}
	for _, a := range attempts(f) {
		names[fmt.Sprintf("bad_input/%d_%s", a.row, a.name)] = true
	}
	for _, a := range httpAttempts(f) {
		names[fmt.Sprintf("raw_http/%d_%s", a.row, a.name)] = true
	}
	for _, sp := range (&system{}).specials() {
		names[fmt.Sprintf("%d_%s", sp.row, sp.name)] = true
	}
	return names
}
