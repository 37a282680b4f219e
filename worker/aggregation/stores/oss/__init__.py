"""OSS, whose service joins objects itself: the only folder that imports oss2 and ossfs."""
