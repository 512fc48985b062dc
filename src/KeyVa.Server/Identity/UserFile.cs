using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;
using KeyVa.Io;
using KeyVa.Partitions;

namespace KeyVa.Server.Identity;

/// <summary>
/// The file of the users, in the data folder; small, rewritten whole on every change: to a temporary file that only its owner can
/// read (0600), which is synced, renamed over the old one, and the folder synced. The layout (docs/format.md, Users):
/// <code>
///   KEYVAUSERS FORMAT CRC32C newline     the format is 1; the checksum, 8 hexadecimal digits, is of everything behind this line
///   {"users": [...]}                     JSON
/// </code>
/// </summary>
internal static class UserFile
{
    public const string FileName = StoreContext.UsersFile;
    public const string TemporaryName = "USERS.tmp";
    public const int Format = 1;

    private const string Magic = "KEYVAUSERS";
    private const long MaxBytes = 64L << 20;
    private const int ChecksumDigits = 8;

    /// <summary>Reads the users of a folder; none if it has no such file. Throws on damage and on a newer format.</summary>
    public static UserDirectory Read(IFileSystem files, string directory)
    {
        string path = Path.Combine(directory, FileName);
        if (!files.FileExists(path))
        {
            return UserDirectory.Empty;
        }

        byte[] bytes;
        using (StorageFile file = files.Open(path, writable: false))
        {
            if (file.Length > MaxBytes)
            {
                throw new CorruptionException(path, 0, $"a file of users of {file.Length} bytes is none");
            }

            bytes = new byte[file.Length];
            int read = file.Read(0, bytes);
            bytes = bytes[..read];
        }

        return Decode(path, bytes);
    }

    /// <summary>Makes these the folder's users, durably and in one step.</summary>
    public static void Write(IFileSystem files, string directory, UserDirectory users) =>
        WriteWhole(files, directory, FileName, TemporaryName, Encode(users));

    /// <summary>Writes a file that only its owner can read, durably and in one step.</summary>
    public static void WriteWhole(IFileSystem files, string directory, string name, string temporaryName, byte[] bytes)
    {
        string temporary = Path.Combine(directory, temporaryName);
        if (files.FileExists(temporary))
        {
            files.DeleteFile(temporary);
        }

        // Files are created for their owner alone.
        using (StorageFile file = files.Create(temporary))
        {
            file.Write(0, bytes);
            file.Sync();
        }

        files.Rename(temporary, Path.Combine(directory, name));
        files.SyncDirectory(directory);
    }

    internal static byte[] Encode(UserDirectory users)
    {
        ArrayBufferWriter<byte> body = new();
        using (Utf8JsonWriter json = new(body, new JsonWriterOptions { Indented = true }))
        {
            json.WriteStartObject();
            json.WriteStartArray("users"u8);
            foreach (User user in users.All)
            {
                WriteUser(json, user);
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        string head = string.Create(CultureInfo.InvariantCulture, $"{Magic} {Format} {Crc32C.Compute(body.WrittenSpan):x8}\n");
        return [.. Encoding.ASCII.GetBytes(head), .. body.WrittenSpan];
    }

    internal static UserDirectory Decode(string path, ReadOnlySpan<byte> bytes)
    {
        int end = bytes.IndexOf((byte)'\n');
        string[] head = end is < 0 or > 64 ? [] : Encoding.ASCII.GetString(bytes[..end]).Split(' ');
        if (head.Length != 3 || head[0] != Magic || head[2].Length != ChecksumDigits
            || !int.TryParse(head[1], NumberStyles.None, CultureInfo.InvariantCulture, out int format)
            || !uint.TryParse(head[2], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out uint checksum))
        {
            throw new CorruptionException(path, 0, "this is no file of KeyVa's users");
        }

        ReadOnlySpan<byte> body = bytes[(end + 1)..];
        if (Crc32C.Compute(body) != checksum)
        {
            throw new CorruptionException(path, end + 1, "the checksum of the users does not fit");
        }

        if (format != Format)
        {
            throw new StoreException($"'{path}' has format version {format}, this program knows up to {Format}; use a newer KeyVa for this data folder");
        }

        try
        {
            using JsonDocument document = JsonDocument.Parse(body.ToArray());
            return new UserDirectory([.. document.RootElement.GetProperty("users").EnumerateArray().Select(ReadUser)]);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or KeyNotFoundException or FormatException or ArgumentException)
        {
            // The checksum fits, so a program wrote it so.
            throw new CorruptionException(path, end + 1, "the users cannot be read: " + e.Message);
        }
    }

    private static void WriteUser(Utf8JsonWriter json, User user)
    {
        json.WriteStartObject();
        json.WriteString("name"u8, user.Name);
        json.WriteStartArray("grants"u8);
        foreach (Grant grant in user.Grants)
        {
            json.WriteStartObject();
            json.WriteString("plane"u8, Grant.Word(grant.Plane));
            json.WriteString("role"u8, Grant.Word(grant.Level));
            json.WriteBase64String("prefix"u8, grant.Prefix);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        if (user.Password is { } password)
        {
            json.WriteStartObject("password"u8);
            json.WriteString("function"u8, PasswordHash.Function);
            json.WriteNumber("iterations"u8, password.Iterations);
            json.WriteBase64String("salt"u8, password.Salt);
            json.WriteBase64String("hash"u8, password.Hash);
            json.WriteEndObject();
        }

        json.WriteStartArray("tokens"u8);
        foreach (AccessToken token in user.Tokens)
        {
            json.WriteStartObject();
            json.WriteString("name"u8, token.Name);
            json.WriteBase64String("sha256"u8, token.Hash);
            json.WriteBoolean("oneTime"u8, token.IsOneTime);
            json.WriteNumber("created"u8, token.CreatedUnixMilliseconds);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteStartArray("certificates"u8);
        foreach (string certificate in user.Certificates)
        {
            json.WriteStringValue(certificate);
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static User ReadUser(JsonElement json)
    {
        List<Grant> grants = [];
        foreach (JsonElement grant in json.GetProperty("grants").EnumerateArray())
        {
            Plane plane = grant.GetProperty("plane").GetString() switch
            {
                "data" => Plane.Data,
                "control" => Plane.Control,
                string other => throw new FormatException($"there is no plane '{other}'"),
                null => throw new FormatException("a grant has no plane"),
            };
            string role = grant.GetProperty("role").GetString() ?? "";
            grants.Add(Grant.TryLevel(role, out Level level)
                ? new Grant(plane, level, grant.GetProperty("prefix").GetBytesFromBase64())
                : throw new FormatException($"there is no role '{role}'"));
        }

        return new User(json.GetProperty("name").GetString()!, grants)
        {
            Password = json.TryGetProperty("password", out JsonElement password) ? ReadPassword(password) : null,
            Tokens = [.. json.GetProperty("tokens").EnumerateArray().Select(static token => new AccessToken(
                token.GetProperty("name").GetString()!,
                token.GetProperty("sha256").GetBytesFromBase64(),
                token.GetProperty("oneTime").GetBoolean(),
                token.GetProperty("created").GetInt64()))],
            Certificates = [.. json.GetProperty("certificates").EnumerateArray().Select(static one => one.GetString()!)],
        };
    }

    private static PasswordHash ReadPassword(JsonElement json)
    {
        string? function = json.GetProperty("function").GetString();
        int iterations = json.GetProperty("iterations").GetInt32();
        if (function != PasswordHash.Function || iterations is < 1 or > PasswordHash.MaxIterations)
        {
            throw new FormatException($"a password is hashed with {iterations} iterations of '{function}', this program knows {PasswordHash.Function} with up to {PasswordHash.MaxIterations}");
        }

        return new PasswordHash(json.GetProperty("salt").GetBytesFromBase64(), iterations, json.GetProperty("hash").GetBytesFromBase64());
    }
}
