module github.com/libovl/libovl/bindings/go

go 1.24
