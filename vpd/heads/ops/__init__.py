"""Operations that several heads share. None of them is a head: nothing here has a `build`."""
