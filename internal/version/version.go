// Package version says which Karri this is.
package version

// Version is set by the build (-ldflags -X).
var Version = "unknown"
