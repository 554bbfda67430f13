// Package inner is not for others.
package inner

// Inner is exported, but nobody can import it.
func Inner() {}
