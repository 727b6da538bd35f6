// Package isnil knows the nil that hides in an interface.
package isnil

import "reflect"

// Value reports whether v is nil, or an interface that holds a nil pointer, map,
// slice, function or channel: what a constructor returned whose error was
// ignored.
func Value(v any) bool {
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Func, reflect.Chan, reflect.UnsafePointer:
		return r.IsNil()
	}
	return false
}
