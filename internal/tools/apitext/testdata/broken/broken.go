// Package broken does not compile.
package broken

// Broken returns a type that nobody has declared.
func Broken() Missing { return nil }
