"""Everyday phrases in other languages, by espeak-ng's names of these: what is not to be written
down. Languages to train on, and others to test with. All in Latin letters, so that one's phrases
can be read as if they were another's.

Of these alone there are too few to learn what is foreign: half of what is said are words that no
language has, made of the halves of two.
"""

import random

__all__ = ["FOREIGN", "NEW_FOREIGN", "READERS", "foreign_text"]

FOREIGN: dict[str, tuple[str, ...]] = {
    "de": (
        "guten morgen wie geht es dir heute",
        "ich möchte bitte einen kaffee mit milch",
        "der zug nach berlin fährt um acht uhr ab",
        "kannst du mir sagen wo der bahnhof ist",
        "das wetter ist heute sehr schön",
        "wir gehen am samstag ins kino",
        "meine schwester wohnt in einem kleinen haus",
        "hast du den schlüssel gesehen",
    ),
    "fr": (
        "bonjour comment allez vous aujourd'hui",
        "je voudrais un café s'il vous plaît",
        "le train pour paris part à huit heures",
        "où se trouve la gare la plus proche",
        "il fait très beau ce matin",
        "nous allons au cinéma samedi soir",
        "ma soeur habite dans une petite maison",
        "est ce que tu as vu mes clés",
    ),
    "es": (
        "buenos días cómo estás hoy",
        "quisiera un café con leche por favor",
        "el tren para madrid sale a las ocho",
        "dónde está la estación más cercana",
        "hace muy buen tiempo esta mañana",
        "vamos al cine el sábado por la noche",
        "mi hermana vive en una casa pequeña",
        "has visto mis llaves",
    ),
    "it": (
        "buongiorno come stai oggi",
        "vorrei un caffè con il latte per favore",
        "il treno per roma parte alle otto",
        "dove si trova la stazione più vicina",
        "stamattina fa molto bello",
        "andiamo al cinema sabato sera",
        "mia sorella abita in una piccola casa",
        "hai visto le mie chiavi",
    ),
    "nl": (
        "goedemorgen hoe gaat het vandaag met je",
        "ik wil graag een kopje koffie met melk",
        "de trein naar amsterdam vertrekt om acht uur",
        "waar is het dichtstbijzijnde station",
        "het is vanochtend erg mooi weer",
        "we gaan zaterdag naar de bioscoop",
        "mijn zus woont in een klein huis",
        "heb je mijn sleutels gezien",
    ),
    "pl": (
        "dzień dobry jak się masz dzisiaj",
        "poproszę kawę z mlekiem",
        "pociąg do warszawy odjeżdża o ósmej",
        "gdzie jest najbliższy dworzec",
        "dziś rano jest bardzo ładna pogoda",
        "w sobotę idziemy do kina",
        "moja siostra mieszka w małym domu",
        "czy widziałeś moje klucze",
    ),
    "sv": (
        "god morgon hur mår du idag",
        "jag skulle vilja ha en kaffe med mjölk",
        "tåget till stockholm går klockan åtta",
        "var ligger närmaste station",
        "det är mycket vackert väder i morse",
        "vi går på bio på lördag",
        "min syster bor i ett litet hus",
        "har du sett mina nycklar",
    ),
    "pt": (
        "bom dia como você está hoje",
        "eu gostaria de um café com leite por favor",
        "o trem para lisboa parte às oito horas",
        "onde fica a estação mais próxima",
        "o tempo está muito bonito esta manhã",
        "vamos ao cinema no sábado à noite",
        "minha irmã mora numa casa pequena",
        "você viu as minhas chaves",
    ),
    "da": (
        "godmorgen hvordan har du det i dag",
        "jeg vil gerne have en kop kaffe med mælk",
        "toget til københavn kører klokken otte",
        "hvor ligger den nærmeste station",
        "min søster bor i et lille hus",
    ),
    "nb": (
        "god morgen hvordan går det med deg",
        "jeg vil gjerne ha en kaffe med melk",
        "toget til oslo går klokka åtte",
        "hvor er nærmeste jernbanestasjon",
        "søsteren min bor i et lite hus",
    ),
    "is": (
        "góðan daginn hvernig hefurðu það",
        "ég ætla að fá kaffi með mjólk",
        "rútan til reykjavíkur fer klukkan átta",
        "hvar er næsta stoppistöð",
        "systir mín býr í litlu húsi",
    ),
    "ro": (
        "bună dimineața ce mai faci astăzi",
        "aș vrea o cafea cu lapte vă rog",
        "trenul spre bucurești pleacă la ora opt",
        "unde este cea mai apropiată gară",
        "sora mea locuiește într o casă mică",
    ),
    "ca": (
        "bon dia com estàs avui",
        "voldria un cafè amb llet si us plau",
        "el tren cap a barcelona surt a les vuit",
        "on és l'estació més propera",
        "la meva germana viu en una casa petita",
    ),
    "la": (
        "salve quid agis hodie",
        "velim aquam frigidam bibere",
        "ubi est via quae romam ducit",
        "soror mea in villa parva habitat",
        "crastino die ad forum ibimus",
    ),
    "eo": (
        "bonan matenon kiel vi fartas",
        "mi volonte trinkus kafon kun lakto",
        "la trajno foriros je la oka horo",
        "kie estas la plej proksima stacidomo",
        "mia fratino loĝas en malgranda domo",
    ),
    "hr": (
        "dobro jutro kako ste danas",
        "htio bih kavu s mlijekom molim",
        "vlak za zagreb kreće u osam sati",
        "gdje je najbliži kolodvor",
        "moja sestra živi u maloj kući",
    ),
    "sk": (
        "dobré ráno ako sa dnes máte",
        "dám si kávu s mliekom prosím",
        "autobus do bratislavy odchádza o ôsmej",
        "kde je najbližšia zastávka",
        "moja sestra býva v malom dome",
    ),
    "lt": (
        "labas rytas kaip šiandien sekasi",
        "norėčiau puodelio kavos su pienu",
        "traukinys į vilnių išvyksta aštuntą valandą",
        "kur yra artimiausia stotis",
        "mano sesuo gyvena mažame name",
    ),
    "et": (
        "tere hommikust kuidas teil läheb",
        "ma sooviksin tassi kohvi piimaga",
        "rong tallinnasse väljub kell kaheksa",
        "kus on lähim raudteejaam",
        "minu õde elab väikeses majas",
    ),
    "az": (
        "salam necəsən bu gün",
        "mən bir stəkan çay istəyirəm",
        "səhər tezdən bazara gedəcəyəm",
        "bizim evimiz dəniz üstündə deyil",
    ),
    "sq": (
        "mirëmëngjes si jeni sot",
        "dua një kafe me qumësht ju lutem",
        "autobusi për tiranë niset në orën tetë",
        "ku është stacioni më i afërt",
        "motra ime jeton në një shtëpi të vogël",
    ),
    "cy": (
        "bore da sut wyt ti heddiw",
        "hoffwn i gael coffi gyda llaeth",
        "mae'r trên i gaerdydd yn gadael am wyth",
        "ble mae'r orsaf agosaf",
        "mae fy chwaer yn byw mewn tŷ bach",
    ),
    "eu": (
        "egun on zer moduz zaude gaur",
        "kafe bat esnearekin nahi nuke",
        "trena zortzietan ateratzen da bilbora",
        "non dago geltokirik hurbilena",
        "nire ahizpa etxe txiki batean bizi da",
    ),
    "id": (
        "selamat pagi apa kabar hari ini",
        "saya mau secangkir kopi dengan susu",
        "kereta ke jakarta berangkat jam delapan",
        "di mana stasiun yang paling dekat",
        "kakak saya tinggal di rumah kecil",
    ),
    "sw": (
        "habari za asubuhi hujambo leo",
        "ningependa kikombe cha kahawa na maziwa",
        "treni kwenda nairobi inaondoka saa mbili",
        "kituo cha karibu kiko wapi",
        "dada yangu anaishi katika nyumba ndogo",
    ),
    "cmn-latn-pinyin": (
        "nǐ hǎo jīn tiān zěn me yàng",
        "wǒ xiǎng yào yì bēi kā fēi",
        "huǒ chē bā diǎn chū fā",
        "zuì jìn de chē zhàn zài nǎ lǐ",
        "wǒ mèi mei zhù zài xiǎo fáng zi lǐ",
    ),
    "gn": (
        "mba'éichapa reime ko'ẽ porã",
        "che aipota y ro'ysã",
        "moõpa oime tenda",
        "che reindy oiko peteĩ óga michĩme",
    ),
    "qu": (
        "allillanchu kashanki wayqey",
        "chiri unuta munani",
        "maypitaq kashan hatun ñan",
        "ñañayqa huchuy wasipi tiyan",
    ),
    "ku": (
        "rojbaş tu çawa yî îro",
        "ez qehweyekê bi şîr dixwazim",
        "îstgeha herî nêzîk li ku ye",
        "xwişka min di xaniyekî biçûk de dijî",
    ),
    "om": (
        "akkam bulte har'a",
        "buna aannan waliin nan barbaada",
        "konkolaataan sa'aatii saddeetitti deema",
        "obboleettiin koo mana xiqqaa keessa jiraatti",
    ),
    "tn": (
        "dumela o tsogile jang",
        "ke batla kofi le mashi",
        "terena e tsamaya ka nako ya borobedi",
        "kgaitsadiake o nna mo ntlong e nnye",
    ),
    "ht": (
        "bonjou kijan ou ye jodi a",
        "mwen ta renmen yon kafe ak lèt",
        "tren an ap pati a wit è",
        "ki kote estasyon ki pi pre a",
    ),
    "nci": (
        "cualli tonalli quen tica",
        "niquinequi atl itztic",
        "campa ca in tepetl",
        "nohueltiuh chanti ipan tepitzin calli",
    ),
    "uz": (
        "assalomu alaykum bugun qalaysiz",
        "men bir piyola choy istayman",
        "poyezd toshkentdan ertalab chiqadi",
        "bizning uyimiz daryo bo'yida",
    ),
    "lb": (
        "gudde moien wéi geet et dir haut",
        "ech hätt gär e kaffi mat mëllech",
        "den zuch op lëtzebuerg fiert um aacht",
        "wou ass déi nächst gare",
    ),
}

NEW_FOREIGN: dict[str, tuple[str, ...]] = {
    "hu": (
        "jó reggelt hogy vagy ma",
        "szeretnék egy kávét tejjel kérem",
        "a vonat budapestre nyolc órakor indul",
        "hol van a legközelebbi állomás",
    ),
    "vi": (
        "chào buổi sáng bạn có khỏe không",
        "tôi muốn một ly cà phê sữa",
        "tàu đi hà nội khởi hành lúc tám giờ",
        "nhà ga gần nhất ở đâu",
    ),
    "mt": (
        "bonġu kif int illum",
        "nixtieq kikkra kafè bil ħalib jekk jogħġbok",
        "tal linja lejn il belt titlaq fit tmienja",
        "fejn hi l eqreb stazzjon",
    ),
    "ga": (
        "maidin mhaith conas atá tú inniu",
        "ba mhaith liom cupán caife le bainne",
        "imíonn an traein go gaillimh ar a hocht",
        "cá bhfuil an stáisiún is gaire",
    ),
    "mi": (
        "ata mārie kei te pēhea koe",
        "he kawhe me te miraka māku",
        "ka wehe te tereina ā te waru karaka",
        "kei hea te teihana tata",
    ),
}
"""Of other families than those, or of far branches."""


READERS = (
    "af", "an", "ba", "bs", "cs", "cv", "es-419", "fa-latn", "fi", "fr-ch", "hak", "ia", "io",
    "jbo", "kk", "kl", "ky", "ltg", "lv", "ms", "nog", "pap", "pt-br", "qdb", "quc", "qya", "ru-lv",
    "sjn", "sl", "smj", "sr", "tk", "tr", "tt", "yue-latn-jyutping",
)  # fmt: skip
"""Languages that only read the others' phrases: it is their sounds that count."""
COINED, MISREAD = 0.5, 0.65
"""Shares of texts of words that are made up, and of those that another language reads."""
WORDS = [word for phrases in FOREIGN.values() for text in phrases for word in text.split()]


def foreign_text(draw: random.Random) -> tuple[str, str]:
    """Something to say, and the language to read it in."""
    language = draw.choice(list(FOREIGN))
    if draw.random() < COINED:
        text = " ".join(_coined(draw) for _ in range(draw.randint(2, 8)))
    else:
        text = draw.choice(FOREIGN[language])
    return text, draw.choice([*FOREIGN, *READERS]) if draw.random() < MISREAD else language


def _coined(draw: random.Random) -> str:
    """A first half and a second half."""
    first, second = draw.choice(WORDS), draw.choice(WORDS)
    return first[: -(-len(first) // 2)] + second[len(second) // 2 :]
