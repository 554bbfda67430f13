package clients

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	page       = "../../docs/clients.md"
	pageBegins = "<!-- table begins -->\n"
	pageEnds   = "<!-- table ends -->\n"
)

// checkPage compares the tables in the documentation with what is recorded, or writes
// them anew.
func checkPage(t *testing.T, cells map[string]string) {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(text), pageBegins)
	require.True(t, ok, "%s has no %s", page, pageBegins)
	table, after, ok := strings.Cut(rest, pageEnds)
	require.True(t, ok, "%s has no %s", page, pageEnds)
	want := tables(t, cells)
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(before+pageBegins+want+pageEnds+after), 0o600))
		return
	}
	assert.Equal(t, want, table, "the tables of %s are not what is recorded: go test . -update", page)
}

// tables are the tables of the page.
func tables(t *testing.T, cells map[string]string) string {
	t.Helper()
	word := func(c *client, mode, scene string) string { return cells[c.name+"\t"+mode+"\t"+scene] }
	versions := readVersions(t)
	var b strings.Builder
	b.WriteString("\n| client | served by | cut | an end in order | cut before the first event | a gap | no room | the last event | needs |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, c := range clients {
		mode := c.best()
		if mode == "" {
			continue
		}
		_, end, _ := strings.Cut(word(c, mode, live), ", ")
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", c.title(versions), routes[mode],
			word(c, mode, cut), word(c, mode, short), word(c, mode, quiet), cmp.Or(word(c, mode, gap), "–"), cmp.Or(word(c, mode, full), "–"), end, c.needs)
	}
	b.WriteString("\nWhat goes wrong with those that are used in another way, or served in one that does not suit them:\n\n")
	b.WriteString("| client | " + strings.Join([]string{routes[byPost], routes[withIDs], routes[hubbed], routes[plainly]}, " | ") + " |\n|---|---|---|---|---|\n")
	for _, c := range clients {
		row, wrong := []string{}, false
		for _, mode := range everyMode {
			switch {
			case !slices.Contains(c.modes, mode):
				row = append(row, "")
			default:
				faults := c.faults(mode, word)
				wrong = wrong || faults != ""
				row = append(row, cmp.Or(faults, "well"))
			}
		}
		if wrong {
			fmt.Fprintf(&b, "| %s | %s |\n", c.title(versions), strings.Join(row, " | "))
		}
	}
	b.WriteString("\n")
	return b.String()
}

// routes are the ways to serve a client, as the page has them.
var routes = map[string]string{
	byPost:  "`Middleware`, POST",
	withIDs: "`Middleware`, IDs",
	hubbed:  "`Handler`",
	plainly: "`Handler`, `WithPlain()`",
}

// best is the way that the documentation advises for a client, which the first table
// shows; empty if there is none.
func (c *client) best() string {
	for _, mode := range []string{hubbed, plainly, withIDs, byPost} {
		if slices.Contains(c.advised, mode) && !(c.method == "POST" && mode != byPost) && !(slices.Contains(c.advised, byPost) && mode != byPost) {
			return mode
		}
	}
	return ""
}

// faults is what a client that is served in that way does wrong.
func (c *client) faults(mode string, word func(c *client, mode, scene string) string) string {
	var faults []string
	add := func(scene, sign, fault string) {
		if strings.Contains(word(c, mode, scene), sign) && !slices.Contains(faults, fault) {
			faults = append(faults, fault)
		}
	}
	for _, scene := range scenes[mode] {
		fault := "is given control events"
		if mode == plainly || mode == withIDs {
			fault = "is given an empty event at a cut"
		}
		add(scene, unasked, fault)
	}
	if strings.HasPrefix(word(c, mode, live), ended) || strings.HasPrefix(word(c, mode, live), told) {
		faults = append(faults, "**is not given every event**")
	}
	add(live, "twice", "begins anew after the end, and **gets all twice**")
	add(live, loops, "**asks for ever after the end**")
	add(cut, again, "**asks the question again** after a cut")
	add(short, again, "**asks the question again** after an end in order")
	add(cut, nothing, "stays away after a cut, and nobody is told")
	if strings.Contains(word(c, mode, cut), resumes) {
		add(short, ended, "takes an end in order for the end of all")
	}
	add(short, nothing, "is not told of an end in order")
	if strings.Contains(word(c, mode, cut), resumes) || mode == hubbed {
		add(full, told, "stays away when there was no room")
		add(full, ended, "takes \"no room\" for the end of all")
		add(full, nothing, "stays away when there was no room")
	}
	add(full, floods, "floods a full hub")
	add(gap, loops, "**asks for ever at 410**")
	return strings.Join(faults, "; ")
}

// title is the client's name and version.
func (c *client) title(versions map[string]string) string {
	name, use, used := strings.Cut(c.name, ", ")
	if version := versions[c.pkg]; version != "" {
		// Some names end in the first number of the version already.
		if space := strings.LastIndex(name, " "); space > 0 && strings.HasPrefix(version, name[space+1:]+".") {
			name = name[:space]
		}
		name += " " + version
	}
	if used {
		name += ", " + use
	}
	return name
}

var required = regexp.MustCompile(`(?m)^\t(\S+) v(\S+)$`)

// readVersions returns the versions of the packages: those of npm in package.json, which
// the lock file follows, and those of Go in go.mod.
func readVersions(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("npm/package.json")
	require.NoError(t, err)
	var npm struct{ Dependencies map[string]string }
	require.NoError(t, json.Unmarshal(text, &npm))
	versions := map[string]string{}
	for name, version := range npm.Dependencies {
		versions[name] = version[strings.LastIndex(version, "@")+1:]
	}
	text, err = os.ReadFile("../go.mod")
	require.NoError(t, err)
	for _, found := range required.FindAllStringSubmatch(string(text), -1) {
		if version := found[2]; !strings.HasPrefix(version, "0.0.0-") {
			versions[found[1]] = version
		}
	}
	return versions
}
