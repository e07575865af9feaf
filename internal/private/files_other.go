//go:build !unix

package private

// Files does nothing: there are no modes here.
func Files() {}
