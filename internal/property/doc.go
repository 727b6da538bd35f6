// Package property has tests of properties, with inputs that rapid makes up and shrinks:
// a module of its own, so that users of the library do not download what only its tests
// need.
package property
