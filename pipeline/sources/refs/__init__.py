"""Pictures with refs: what sentences mean, as masks. Shared by the sources of sentences, whatever their files."""
