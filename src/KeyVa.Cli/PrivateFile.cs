using System.Diagnostics.CodeAnalysis;

namespace KeyVa.Cli;

/// <summary>Files that only their owner can read. Stateless.</summary>
[SuppressMessage("Interoperability", "CA1416", Justification = "KeyVa runs on Linux alone")]
internal static class PrivateFile
{
    private const UnixFileMode Others =
        UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherWrite | UnixFileMode.OtherExecute;

    /// <summary>Creates a file, which must not exist, with mode 0600.</summary>
    public static FileStream Create(string path) => new(path, new FileStreamOptions
    {
        Mode = FileMode.CreateNew,
        Access = FileAccess.Write,
        UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
    });

    /// <summary>Whether others than its owner can do nothing with it.</summary>
    public static bool IsPrivate(string path) => (File.GetUnixFileMode(path) & Others) == 0;
}
