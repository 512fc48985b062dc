namespace KeyVa.Histories;

/// <summary>Why one transaction comes before another.</summary>
internal enum DependencyKind : byte
{
    /// <summary>The other appended behind its element.</summary>
    Ww,

    /// <summary>The other read its element.</summary>
    Wr,

    /// <summary>The other appended behind what it read (an anti-dependency).</summary>
    Rw,

    /// <summary>The same client did the other later.</summary>
    Process,

    /// <summary>The other began after it had ended.</summary>
    RealTime,
}

/// <summary>
/// An edge of the dependency graph. <see cref="Element"/> is what To appended (ww, rw) or read last (wr);
/// <see cref="Before"/> what From appended (ww); <see cref="Operation"/> the reading operation (of To for wr, of From for
/// rw). <see cref="IsUnread"/>: nobody has read <see cref="Element"/>, so that it must come behind everything that was read.
/// </summary>
internal readonly record struct Dependency(
    int From, int To, DependencyKind Kind, int Key = 0, int Element = 0, int Before = 0, int Operation = 0, bool IsUnread = false);
