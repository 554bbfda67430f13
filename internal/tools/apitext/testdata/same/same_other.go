//go:build !linux

package same

func here(int) {}
