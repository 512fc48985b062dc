using System.Globalization;

namespace KeyVa.Engines.Lsm;

/// <summary>The names of an engine's files.</summary>
internal static class FileNames
{
    public const string Current = "CURRENT";
    public const string CurrentTemporary = "CURRENT.tmp";
    private const string ManifestPrefix = "MANIFEST-";
    private const string TableSuffix = ".sst";
    private const string StagedSuffix = ".load";

    public static string Manifest(long number) => string.Create(CultureInfo.InvariantCulture, $"{ManifestPrefix}{number:D6}");

    public static string Table(long id) => string.Create(CultureInfo.InvariantCulture, $"{id:D6}{TableSuffix}");

    /// <summary>A table of a bulk load that is not complete, or whose journal record has not been applied.</summary>
    public static string Staged(long id) => string.Create(CultureInfo.InvariantCulture, $"{id:D6}{StagedSuffix}");

    public static bool TryParseManifest(string name, out long number)
    {
        number = 0;
        return name.StartsWith(ManifestPrefix, StringComparison.Ordinal) && TryParse(name.AsSpan(ManifestPrefix.Length), out number);
    }

    public static bool TryParseTable(string name, out long id)
    {
        id = 0;
        return name.EndsWith(TableSuffix, StringComparison.Ordinal) && TryParse(name.AsSpan(0, name.Length - TableSuffix.Length), out id);
    }

    public static bool TryParseStaged(string name, out long id)
    {
        id = 0;
        return name.EndsWith(StagedSuffix, StringComparison.Ordinal) && TryParse(name.AsSpan(0, name.Length - StagedSuffix.Length), out id);
    }

    private static bool TryParse(ReadOnlySpan<char> digits, out long number) =>
        long.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out number);
}
