module github.com/sallyport/sallyport/internal/property

go 1.26.0

require (
	github.com/sallyport/sallyport v0.0.0
	golang.org/x/time v0.16.0
	pgregory.net/rapid v1.3.0
)

replace github.com/sallyport/sallyport => ../..
