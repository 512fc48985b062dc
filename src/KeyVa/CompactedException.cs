using System.Globalization;

namespace KeyVa;

/// <summary>
/// A watch cannot go on: the changes that come next are not kept any more, since its reader was too slow or asks for a version
/// that is gone. Read the keys anew and watch from <see cref="StartVersion"/>.
/// </summary>
public sealed class CompactedException : StoreException
{
    /// <summary>The changes below this version are gone.</summary>
    public CompactedException(long startVersion)
        : base(string.Create(CultureInfo.InvariantCulture, $"the changes before version {startVersion} are not kept any more; read the keys anew and watch from version {startVersion}"))
        => StartVersion = startVersion;

    /// <summary>The first version from which the watch could go on.</summary>
    public long StartVersion { get; }
}
