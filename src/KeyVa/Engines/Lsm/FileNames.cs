using System.Globalization;

namespace KeyVa.Engines.Lsm;

/// <summary>The names of an engine's files.</summary>
internal static class FileNames
{
    public const string Current = "CURRENT";
    public const string CurrentTemporary = "CURRENT.tmp";
    private const string ManifestPrefix = "MANIFEST-";
    private const string TableSuffix = ".sst";
    private const string ValuesSuffix = ".val";
    private const string StagedSuffix = ".load";

    public static string Manifest(long number) => string.Create(CultureInfo.InvariantCulture, $"{ManifestPrefix}{number:D6}");

    public static string Table(long id) => string.Create(CultureInfo.InvariantCulture, $"{id:D6}{TableSuffix}");

    public static string Values(long id) => string.Create(CultureInfo.InvariantCulture, $"{id:D6}{ValuesSuffix}");

    /// <summary>A table of a bulk load that is not complete, or whose journal record has not been applied.</summary>
    public static string Staged(long id) => string.Create(CultureInfo.InvariantCulture, $"{id:D6}{StagedSuffix}");

    public static bool TryParseManifest(string name, out long number)
    {
        number = 0;
        return name.StartsWith(ManifestPrefix, StringComparison.Ordinal) && TryParse(name.AsSpan(ManifestPrefix.Length), out number);
    }

    public static bool TryParseTable(string name, out long id) => TryParseSuffixed(name, TableSuffix, out id);

    public static bool TryParseValues(string name, out long id) => TryParseSuffixed(name, ValuesSuffix, out id);

    public static bool TryParseStaged(string name, out long id) => TryParseSuffixed(name, StagedSuffix, out id);

    private static bool TryParseSuffixed(string name, string suffix, out long id)
    {
        id = 0;
        return name.EndsWith(suffix, StringComparison.Ordinal) && TryParse(name.AsSpan(0, name.Length - suffix.Length), out id);
    }

    // The framework's parsing lets zero characters follow the digits, which no file system takes.
    private static bool TryParse(ReadOnlySpan<char> digits, out long number)
    {
        number = 0;
        return digits.IndexOfAnyExceptInRange('0', '9') < 0 && long.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out number);
    }
}
