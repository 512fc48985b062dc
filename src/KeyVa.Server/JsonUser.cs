using System.Diagnostics.CodeAnalysis;
using System.Text.Json;
using KeyVa.Server.Identity;

namespace KeyVa.Server;

/// <summary>
/// Users as JSON: the body of <c>PUT /users/{name}</c>, <c>{"grants": ["data:read:orders/"], "password": "...", "certificates": ["subject:CN=a"]}</c>, and
/// what is told of them. A grant may also be an object with plane, role and prefix64. What is unknown or of the wrong type is refused by name. Stateless.
/// </summary>
internal static class JsonUser
{
    /// <summary>Reads a user; false with what is wrong.</summary>
    internal static bool TryRead(ReadOnlyMemory<byte> body, string name, out UserChange.Put? put, out string wrong)
    {
        List<Grant>? grants = null;
        string? password = null;
        List<string>? certificates = null;
        bool valid = TryMembers(body, "grants, password, certificates", out wrong, (member, value) =>
        {
            switch (member)
            {
                case "grants":
                    grants = [];
                    foreach (JsonElement grant in Items(value, member))
                    {
                        Read(grant, grants);
                    }

                    return true;
                case "password":
                    password = Text(value, member);
                    return true;
                case "certificates":
                    certificates = [.. Items(value, member).Select(one => CertificateName.Normal(Text(one, member)))];
                    return true;
                default:
                    return false;
            }
        });
        put = valid ? new UserChange.Put(name, grants, password, certificates) : null;
        return valid;
    }

    /// <summary>Reads <c>{"password": "..."}</c>; false with what is wrong.</summary>
    internal static bool TryReadPassword(ReadOnlyMemory<byte> body, [NotNullWhen(true)] out string? password, out string wrong)
    {
        string? read = null;
        bool valid = TryMembers(body, "password", out wrong, (member, value) =>
        {
            read = member == "password" ? Text(value, member) : read;
            return member == "password";
        });
        if (valid && read is null)
        {
            wrong = "password is missing";
        }

        password = read;
        return valid && read is not null;
    }

    /// <summary>Reads <c>{"old": "...", "password": "..."}</c>; false with what is wrong.</summary>
    internal static bool TryReadOwnPassword(ReadOnlyMemory<byte> body, out string old, out string next, out string wrong)
    {
        string? shown = null;
        string? read = null;
        bool valid = TryMembers(body, "old, password", out wrong, (member, value) =>
        {
            shown = member == "old" ? Text(value, member) : shown;
            read = member == "password" ? Text(value, member) : read;
            return member is "old" or "password";
        });
        if (valid && (shown is null || read is null))
        {
            wrong = shown is null ? "old is missing, the password until now" : "password is missing";
        }

        (old, next) = (shown ?? "", read ?? "");
        return valid && shown is not null && read is not null;
    }

    /// <summary>Tells of a user, and nothing that it proves itself with.</summary>
    internal static void Write(Utf8JsonWriter json, User user)
    {
        json.WriteString("name", user.Name);
        json.WriteStartArray("grants");
        foreach (Grant grant in user.Grants)
        {
            if (System.Text.Unicode.Utf8.IsValid(grant.Prefix))
            {
                json.WriteStringValue(grant.ToString());
                continue;
            }

            json.WriteStartObject();
            json.WriteString("plane", Grant.Word(grant.Plane));
            json.WriteString("role", Grant.Word(grant.Level));
            json.WriteBase64String("prefix64", grant.Prefix);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteBoolean("hasPassword", user.Password is not null);
        json.WriteStartArray("tokens");
        foreach (AccessToken token in user.Tokens)
        {
            json.WriteStartObject();
            json.WriteString("name", token.Name);
            json.WriteString("created", IsoTime.Format(token.CreatedUnixMilliseconds));
            json.WriteBoolean("oneTime", token.IsOneTime);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteStartArray("certificates");
        foreach (string certificate in user.Certificates)
        {
            json.WriteStringValue(certificate);
        }

        json.WriteEndArray();
    }

    private static bool TryMembers(ReadOnlyMemory<byte> body, string known, out string wrong, Func<string, JsonElement, bool> take)
    {
        wrong = "";
        try
        {
            using JsonDocument document = JsonDocument.Parse(body, new JsonDocumentOptions { MaxDepth = 4, AllowDuplicateProperties = false });
            if (document.RootElement.ValueKind != JsonValueKind.Object)
            {
                throw new JsonException("the body must be an object");
            }

            foreach (JsonProperty member in document.RootElement.EnumerateObject())
            {
                if (!take(member.Name, member.Value))
                {
                    throw new JsonException($"{member.Name} is not known; known are: {known}");
                }
            }
        }
        catch (JsonException e)
        {
            wrong = e.Message;
        }
        catch (InvalidOperationException)
        {
            wrong = JsonRequest.NoUnicode;
        }

        return wrong.Length == 0;
    }

    private static void Read(JsonElement json, List<Grant> grants)
    {
        if (json.ValueKind == JsonValueKind.String)
        {
            if (!Grant.TryParse(json.GetString()!, grants, out string? wrong))
            {
                throw new JsonException(wrong);
            }

            return;
        }

        if (json.ValueKind != JsonValueKind.Object || !json.TryGetProperty("plane", out JsonElement plane) || !json.TryGetProperty("role", out JsonElement role)
            || Text(plane, "plane") is not ("data" or "control") || !Grant.TryLevel(Text(role, "role"), out Level level))
        {
            throw new JsonException($"a grant is {Grant.Forms}, or an object with plane, role and prefix64");
        }

        byte[]? prefix = [];
        if (json.TryGetProperty("prefix64", out JsonElement bytes) && !(bytes.ValueKind == JsonValueKind.String && bytes.TryGetBytesFromBase64(out prefix)))
        {
            throw new JsonException("prefix64 is no base64");
        }

        grants.Add(new Grant(plane.GetString() == "data" ? Plane.Data : Plane.Control, level, prefix!));
    }

    private static JsonElement.ArrayEnumerator Items(JsonElement json, string member) =>
        json.ValueKind == JsonValueKind.Array ? json.EnumerateArray() : throw new JsonException($"{member} must be an array");

    private static string Text(JsonElement json, string member) =>
        json.ValueKind == JsonValueKind.String ? json.GetString()! : throw new JsonException($"{member} must be a string");
}
