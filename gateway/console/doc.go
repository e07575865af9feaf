// Package console serves the console: a web page with which an operator sees what jobs do, and repairs them.
//
// The page is made of static files, which anybody who reaches the listener may read: they hold no data. All data comes
// from the gateway's API on the same listener, with the operator's own token. The source is in web, in TypeScript; the
// command internal/tools/console builds it into assets, which is committed and embedded.
package console
