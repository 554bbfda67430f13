package tests

import "testing"

// takesSeconds leaves a slow test out of make quick, which is the only user of
// -short. It is the only skip: a test that cannot find what it needs must fail.
func takesSeconds(t *testing.T, why string) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: " + why)
	}
}
