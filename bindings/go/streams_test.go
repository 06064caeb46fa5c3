package ovl_test
func child() {}
