"""The least that a Qt program with a tray icon can be."""
import sys

from PyQt5.QtGui import QIcon, QPixmap
from PyQt5.QtWidgets import QApplication, QMenu, QSystemTrayIcon

application = QApplication(sys.argv)
application.setQuitOnLastWindowClosed(False)
menu = QMenu()
for label in ("Private", "Connect", "Quit"):
    menu.addAction(label)
picture = QPixmap(22, 22)
picture.fill()
icon = QSystemTrayIcon(QIcon(picture))
icon.setContextMenu(menu)
icon.show()
sys.exit(application.exec_())
